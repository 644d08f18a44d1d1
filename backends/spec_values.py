"""The options and defaults of a spec, checked once more where a model is loaded: not every spec comes from a
file (`configs/spec_rules.py` judges those)."""

from backends.errors import LoadFailed
from configs.families import FamilyRules
from configs.models import ModelSpec
from configs.spec_rules import value_faults


def check_values(spec: ModelSpec, rules: FamilyRules) -> None:
    """Raise `LoadFailed` for a value that nothing reads (misspelt, it would change results silently) or that
    makes no sense."""
    for place, message in (
        *value_faults("options", spec.options, rules.options),
        *value_faults("defaults", spec.defaults, rules.defaults),
    ):
        where = ".".join(map(str, place))
        raise LoadFailed(f"model '{spec.name}': {where}: {message}", code="model_load_failed")

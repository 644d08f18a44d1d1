"""The texts of the self-test."""

# Short and longer, several scripts, odd characters: what has gone wrong in one build or another.
TEXTS = (
    "hello",
    "A date is parsed by giving its format.",
    "The quick brown fox jumps over the lazy dog, and then it sleeps until the evening.",
    "import json; print(json.dumps({'a': [1, 2, 3]}, indent=2))",
    "Return the sum of a start value and an iterable of numbers.",
    "42",
    "오늘은 날씨가 맑고 바람이 조금 붑니다.",
    "วันนี้อากาศดีมาก",
    "आज मौसम बहुत अच्छा है।",
    "Das Gerät wird über die Schnittstelle an der Rückseite angeschlossen.",
    "El tren sale a las ocho y llega antes del mediodía.",
    "🚀 launch at dawn 🌅",
    "x" * 300,
    "[CLS] is a token and this is a sentence [SEP]",
    " ".join(f"item {number} costs {number * 7} euros;" for number in range(12)),
    "In bulk the machine reads each document once, stores what it found, and goes on. " * 5,
)

"""Writes the texts of the accuracy tests: docstrings of the standard library, and hard cases.

Run with Python 3.11, whose docstrings the stored file has; see README.md.
"""

import ast
import json
import random
import sysconfig
from pathlib import Path

OUT = Path("tests/data/bert/texts.json")
COUNT = 220
SEED = 7
SHORTEST, LONGEST = 15, 1500  # characters; the longest stay below 512 tokens

HARD = {
    "korean": "도서관은 매일 아침 아홉 시에 문을 열고, 금요일에는 밤늦게까지 책을 읽을 수 있습니다.",
    "thai": "ห้องสมุดเปิดทุกวันตอนเก้าโมงเช้า และวันศุกร์เปิดจนดึก",
    "hindi": "पुस्तकालय हर सुबह नौ बजे खुलता है और शुक्रवार को देर रात तक खुला रहता है।",
    "japanese": "図書館は毎朝九時に開き、金曜日は夜遅くまで本を読めます。",
    "arabic": "تفتح المكتبة أبوابها كل صباح في التاسعة وتبقى مفتوحة حتى وقت متأخر يوم الجمعة.",
    "emoji": "📚 opens at 🕘, closes late on Fridays 🎉👩‍👩‍👧‍👦🏳️‍🌈",
    "combining accents": "Cafe\u0301 at the cha\u0302teau, nai\u0308ve re\u0301sume\u0301s",
    "5000 x": "x" * 5000,
    "5000 words x": "x " * 5000,
    "word of 400 characters": "internationalisation" * 20,
    "literal special tokens": "[CLS] opens a text, [SEP] ends it, [MASK] hides, [PAD] fills",
    "only a literal [CLS]": "[CLS]",
    "NUL": "before\0after",
    "only spaces": "     ",
    "only a line feed": "\n",
    "control characters": "bell\x07 tab\t feed\x0c escape\x1b delete\x7f",
    "replacement and unassigned": "\ufffd \U000e0001 \uffff",
    "one character": "a",
    "numbers": "3.14159 1e-9 0x1F 1,000,000 ½ Ⅷ ٣",
    "markup": "<p class='a'>x &amp; y</p> ${name} {{ value }} \\n %s",
    "512 tokens": "word " * 510,
    "513 tokens": "word " * 511,
    "3000 tokens": "The reader turns one page after the other. " * 300,
}


def docstrings() -> list[str]:
    """Every docstring of the standard library, tests excepted, in the order of its files."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, None] = {}
    for path in sorted(root.rglob("*.py")):
        if {"test", "tests", "site-packages", "idlelib", "lib2to3"} & set(path.relative_to(root).parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[ast.get_docstring(node) or ""] = None
    return [text for text in found if SHORTEST <= len(text) <= LONGEST]


def main() -> None:
    corpus = random.Random(SEED).sample(docstrings(), COUNT)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"corpus": corpus, "hard": HARD}, ensure_ascii=True, indent=0) + "\n")


if __name__ == "__main__":
    main()

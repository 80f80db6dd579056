"""Runs Microsoft's pattern recognizers (PyPI: presidio-analyzer, MIT) over the corpus, without any model: an outside opinion.

    python3 presidio.py        needs the package `presidio-analyzer`
"""

from __future__ import annotations

import json
from pathlib import Path

from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, EmailRecognizer, IbanRecognizer, PhoneRecognizer, UsSsnRecognizer

RECOGNIZERS = {"card": CreditCardRecognizer, "iban": IbanRecognizer, "email": EmailRecognizer, "us_ssn": UsSsnRecognizer, "phone": PhoneRecognizer}


def main() -> None:
    """Prints, for each file, in how many texts with and without a value something is found."""
    for name, recognizer in RECOGNIZERS.items():
        judge = recognizer()
        hit = {True: [0, 0], False: [0, 0]}
        for line in (Path(__file__).parent / f"{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            counted = hit[bool(row["spans"])]
            counted[0] += bool(judge.analyze(row["text"], judge.supported_entities, None))
            counted[1] += 1
        print(f"{name}: {hit[True][0]} of {hit[True][1]} with a value, {hit[False][0]} of {hit[False][1]} without")


if __name__ == "__main__":
    main()

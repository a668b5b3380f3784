"""What has the form of a secret, taken out of text before it goes to a model.

The secrets of the run itself are known and hidden everywhere (:mod:`.secrets`); these are others', which a log may
hold.
"""

from __future__ import annotations

import re2

__all__ = ["redact"]

MASK = "[redacted]"

#: Forms of secrets, by their makers' documentation. RE2: linear, whatever a log holds. What a group holds stays.
_FORMS = tuple(
    re2.compile(pattern)
    for pattern in (
        r"()\bsk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-)
        r"()\bAIza[A-Za-z0-9_-]{30,}",  # Google
        r"()\b(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
        r"()\bglpat-[A-Za-z0-9_-]{16,}",
        r"()\bxox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
        r"()\bap[rs]1\.[A-Za-z0-9_.-]{16,}",  # our own tokens
        r"()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # AWS
        r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # JSON Web Token
        r"((?i:authorization\"?: *\"?(?:bearer|basic|token) +))[^\s\"',;]+",
        r"((?i:x-api-key\"?: *\"?))[^\s\"',;]+",
        r"([a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@",  # the password of a URL
        r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    )
)


def redact(text: str) -> str:
    """``text`` with everything that has the form of a secret replaced.

    >>> redact("Authorization: Bearer xyz")
    'Authorization: Bearer [redacted]'
    """
    for form in _FORMS:
        text = form.sub(rf"\1{MASK}", text)
    return text

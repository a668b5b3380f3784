"""What has the form of a secret, taken out of text before it is kept, or goes to a model.

For the secrets of others, which a log may hold; those that are known are better looked for by their value. Pure:
``core/`` packages may import it.
"""

from __future__ import annotations

import re2

__all__ = ["redact"]

MASK = "[redacted]"

#: What names of secrets contain.
_NAMES = "(?:token|secret|passw(?:or)?d|passphrase|api_?key|access_?key|credential)"

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
        r"()\bnpm_[A-Za-z0-9]{30,}",
        r"()\bpypi-[A-Za-z0-9_-]{32,}",
        r"()\bhf_[A-Za-z0-9]{30,}",  # Hugging Face
        r"()\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
        rf"((?i:[\w.-]*{_NAMES}[\w.-]*[\"']?\s?=\s?[\"']?))[^\s\"',;&]{{4,}}",  # PASSWORD=...
        rf"((?i:\"[\w.-]*{_NAMES}[\w.-]*\"\s?:\s?\"))[^\"]{{4,}}",  # the same in JSON
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

"""Versioned prompts: parsed, rendered, resolved, locked and compared. Pure, but for files."""

from seamline.policies.checks import CheckResult, run_checks
from seamline.policies.decide import (
    Decision,
    resolve_options,
    resolve_rules,
)
from seamline.policies.diff import PolicyDiff, diff
from seamline.policies.model import Check, Example, Policy, PolicyConfig, Rule
from seamline.policies.parse import load_policy, parse_policy
from seamline.policies.render import Rendered, render, render_say
from seamline.policies.store import PolicyProblem, PolicyStore

__all__ = [
    "Check",
    "CheckResult",
    "Decision",
    "Example",
    "Policy",
    "PolicyConfig",
    "PolicyDiff",
    "PolicyProblem",
    "PolicyStore",
    "Rendered",
    "Rule",
    "diff",
    "load_policy",
    "parse_policy",
    "render",
    "render_say",
    "resolve_options",
    "resolve_rules",
    "run_checks",
]

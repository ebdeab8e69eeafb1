"""Versioned prompts: parsed, rendered, resolved, locked and compared. Pure, but for files."""

from seamline.policies.checks import CheckResult, run_checks
from seamline.policies.decide import (
    Decision,
    SingleShot,
    option_branches,
    resolve_answer,
    resolve_options,
    resolve_rules,
    rule_branches,
    single_shot,
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
    "SingleShot",
    "diff",
    "load_policy",
    "option_branches",
    "parse_policy",
    "render",
    "render_say",
    "resolve_answer",
    "resolve_options",
    "resolve_rules",
    "rule_branches",
    "run_checks",
    "single_shot",
]

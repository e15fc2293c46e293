# SPDX-License-Identifier: Apache-2.0
"""Small helpers of the policy language."""


def makeSequence(value):
    """A sequence stays one; a single value becomes one of length one."""
    if isinstance(value, (list, tuple)):
        return value
    return (value,)

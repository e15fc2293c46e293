# SPDX-License-Identifier: Apache-2.0
"""The policy host: loads a policy, compiles it to the policy document, serves its callbacks."""

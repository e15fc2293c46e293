# SPDX-License-Identifier: Apache-2.0
"""A TLS scanner finds nothing worse than in nginx. Only sslscan: testssl.sh takes minutes, ./do scan runs both."""

import os
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_sslscan_finds_nothing_worse_than_in_nginx():
    done = subprocess.run([os.path.join(TOP, "tools", "tls-scan"), "--scanner", "sslscan"], check=False, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    # It found what there is, and did not only fail to connect.
    assert "| TLS 1.3 | offered | the same |" in done.stdout
    assert "| TLS 1.2 | offered | the same |" in done.stdout
    assert "| renegotiation | not supported | the same |" in done.stdout

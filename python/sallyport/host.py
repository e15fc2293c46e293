# SPDX-License-Identifier: Apache-2.0
"""The policy host: python3 -B -s -m sallyport.host compile|serve ...

    compile --schema PATH --policy PATH [--instance NAME]... --document-fd N --problems-fd M [--secrets-fd S]
    serve   the same, and --control-fd K

Problems are JSON lines {"file","line","severity","message","hint"}. Exit status 0: the document was
written; 1: the policy has errors; 2: wrong usage. Private keys and passphrases that the policy has as
text go to the secrets, never into the document. What policy code prints goes to standard error.
"""

import argparse
import contextlib
import gc
import json
import os
import sys
import traceback

from sallyport import problems, schema
from sallyport.loader import Load


def _arguments(argv):
    parser = argparse.ArgumentParser(prog="sallyport.host", description="Compile a policy, and serve its callbacks.",
                                     allow_abbrev=False)
    parser.add_argument("command", choices=("compile", "serve"))
    parser.add_argument("--schema", required=True, metavar="PATH")
    parser.add_argument("--policy", required=True, metavar="PATH")
    parser.add_argument("--instance", action="append", default=[], metavar="NAME")
    parser.add_argument("--document-fd", type=int, required=True, metavar="N")
    parser.add_argument("--problems-fd", type=int, required=True, metavar="M")
    parser.add_argument("--secrets-fd", type=int, metavar="S")
    parser.add_argument("--control-fd", type=int, metavar="K")
    options = parser.parse_args(argv)
    if (options.command == "serve") != (options.control_fd is not None):
        parser.error("--control-fd goes with serve")
    return options


def _keep(fd):
    """The descriptor under a number that policy code has no reason to touch."""
    kept = os.dup(fd)
    if fd > 2:
        os.close(fd)
    return kept


def _redirect_output():
    """Whatever policy code and its children print goes to standard error, line by line."""
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
    sys.stdout = sys.stderr


def _forget_current_directory():
    """python -m puts the current directory first on the path. It is not the policy's."""
    cwd = os.getcwd()
    wanted = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if sys.path and sys.path[0] in ("", cwd) and cwd not in wanted:
        del sys.path[0]


def _write(fd, text):
    with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as f:
        f.write(text)


def _problem_lines(found):
    lines = [json.dumps(p, ensure_ascii=True) for p in found.items]
    if found.left_out:
        last = {"file": found.items[0]["file"], "line": 0, "severity": problems.WARNING,
                "message": "%d more problems are not shown" % found.left_out, "hint": None}
        lines.append(json.dumps(last))
    return "".join(line + "\n" for line in lines)


def main(argv=None):
    options = _arguments(argv)
    secrets_fd = None
    try:
        document_fd, problems_fd = _keep(options.document_fd), _keep(options.problems_fd)
        if options.secrets_fd is not None:
            secrets_fd = _keep(options.secrets_fd)
        schema.load(options.schema)
    except (OSError, schema.SchemaError) as error:
        sys.stderr.write("sallyport.host: %s\n" % error)
        return 2
    _forget_current_directory()
    _redirect_output()
    sys.dont_write_bytecode = True
    found = problems.Problems()
    load = Load(options.policy, options.instance, found)
    gc.disable()    # a load throws next to nothing away: looking for garbage would double its time
    try:
        compiled = load.run()
    except Exception as error:
        # A mistake of ours, not of the policy's. The traceback is for whoever mends it.
        traceback.print_exc()
        compiled = None
        found.add(problems.ERROR, (load.policy, 0), "the policy host failed: " + problems.describe_exception(error),
                  "this is a defect of Sallyport; the log has the details")
    _write(problems_fd, _problem_lines(found))
    if compiled is None:
        os.close(document_fd)
        return 1
    if secrets_fd is not None:
        with os.fdopen(secrets_fd, "wb") as f:      # before the document: whoever reads that finds these complete
            f.write(compiled.encryptions.secrets_file())
            f.truncate()
    _write(document_fd, compiled.document)
    if options.command == "serve" and compiled.classes:
        from sallyport import serve
        compiled.document = ""
        gc.enable()
        serve.serve(compiled, options.control_fd)
    return 0


if __name__ == "__main__":
    # The policy becomes __main__; this module stays what it is.
    from sallyport import host
    status = host.main()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # Not sys.exit(): to take a large policy apart, object by object, costs a quarter of what its load does.
    os._exit(status)

# SPDX-License-Identifier: Apache-2.0
"""Notices when config() asks the time, random numbers, files or the network: it runs once, at load,
and what it finds then holds for every session."""

import sys

from sallyport import problems

_MODULES = {"time": "the time", "_datetime": "the time", "datetime": "the time", "_random": "random numbers",
            "random": "random numbers", "io": "files", "_io": "files", "socket": "the network", "_socket": "the network"}
_POSIX = {"open": "files", "stat": "files", "lstat": "files", "listdir": "files", "scandir": "files",
          "urandom": "random numbers", "getrandom": "random numbers", "fork": "other programs",
          "system": "other programs", "posix_spawn": "other programs"}
_TYPES = {"socket": "the network", "Random": "random numbers", "SystemRandom": "random numbers",
          "datetime": "the time", "date": "the time"}
_HARMLESS = {"strptime", "strftime", "combine", "fromtimestamp", "fromisoformat", "write", "flush", "getvalue",
             "inet_pton", "inet_ntop", "inet_aton", "inet_ntoa", "htonl", "ntohl", "htons", "ntohs"}


def _touches(function):
    if function.__name__ in _HARMLESS:
        return None
    module = getattr(function, "__module__", None)
    if module in ("posix", "nt"):
        return _POSIX.get(function.__name__)
    if module in _MODULES:
        return _MODULES[module]
    owner = getattr(function, "__self__", None)
    name = getattr(owner, "__name__", None) if isinstance(owner, type) else type(owner).__name__
    return _TYPES.get(name)


class watching:
    """`with watching() as seen:` seen is {(place, what): None}."""

    def __enter__(self):
        self._seen = {}
        self._before = sys.getprofile()
        sys.setprofile(self._profile)
        return self._seen

    def __exit__(self, *exception):
        sys.setprofile(self._before)

    def _profile(self, frame, event, function):
        if event != "c_call":
            return
        what = _touches(function)
        if what is None:
            return
        while frame is not None:
            if problems.is_policy_frame(frame):
                self._seen[((frame.f_code.co_filename, problems.line_of(frame)), what)] = None
                return
            name = frame.f_globals.get("__name__", "")
            if name.startswith(("sallyport.", "Zorp.", "importlib.", "_frozen_importlib")):
                return
            frame = frame.f_back

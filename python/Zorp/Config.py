# SPDX-License-Identifier: Apache-2.0
"""config.*: the options of a policy. Assignments are checked; what has no effect is said so in
docs/reference/policy-language.md."""

from sallyport import problems as _problems


class Container:
    """One group of options: name -> (default, type)."""

    def __init__(self, name, defaults):
        self.__dict__["_name"] = name
        self.__dict__["_defaults"] = dict(defaults)
        self.__dict__.update(defaults)

    def __setattr__(self, name, value):
        if name not in self._defaults:
            _problems.report("there is no option %s.%s" % (self._name, name),
                             _problems.did_you_mean(name, self._defaults))
            return
        wrong = _wrong_value(name, self._defaults[name], value)
        if wrong:
            _problems.report("%s.%s %s, not %s" % (self._name, name, wrong, _problems.shown(value)))
            return
        self.__dict__[name] = value


def _wrong_value(name, default, value):
    if name == "language":
        return None if value in ("en", "de", "hu") else 'must be "en", "de" or "hu"'
    if name == "timeout_server_connect":
        good = isinstance(value, int) and 1 <= value <= 3600000
        return None if good else "must be a number of milliseconds from 1 to 3600000"
    if name == "keys_in_workers":
        return None if isinstance(value, int) and value in (0, 1) else "must be TRUE or FALSE"
    if isinstance(default, int):
        return None if isinstance(value, int) else "must be a number"
    if isinstance(default, str):
        return None if isinstance(value, str) else "must be a string"
    return None


options = Container("config.options", {
    "timeout_server_connect": 30000, "language": "en", "kzorp_enabled": 1,
    "zone_dispatcher_shift_threshold": 1000, "product_name": "Sallyport", "package_suffix": "",
    "keys_in_workers": 0})
blob = Container("config.blob", {
    "temp_directory": "/var/lib/zorp/tmp/", "max_disk_usage": 1073741824, "max_mem_usage": 268435456,
    "lowat": 100663296, "hiwat": 134217728, "noswap_max": 16384})
dirs = Container("config.dirs", {
    "libdir": "/usr/lib/sallyport", "sbindir": "/usr/sbin", "sysconfdir": "/etc/sallyport",
    "pidfiledir": "/run/sallyport/"})
audit = Container("config.audit", {
    "audit": 1, "encrypt": 0, "compress": 1, "sign": 0, "timestamp": 0, "ids": 0, "compress_level": 1,
    "encrypt_certificate_list": None, "encrypt_certificate_list_file": None, "encrypt_certificate": None,
    "encrypt_certificate_file": None, "sign_interval": 30, "sign_private_key": None, "sign_certificate": None,
    "sign_private_key_file": None, "sign_certificate_file": None, "timestamp_url": "", "timestamp_policy": "",
    "timestamp_length": 3072, "ids_interface": "", "ids_src_mac": "", "ids_dst_mac": "", "rate_limit": 2097152,
    "rate_notification_interval": 300, "write_size_max": 2147483648, "terminate_on_max_size": 0})


class Configuration:
    """What policies call config."""

    def __init__(self):
        self.__dict__.update(options=options, blob=blob, dirs=dirs, audit=audit)

    def __setattr__(self, name, value):
        _problems.report("config.%s can't be assigned" % name,
                         "options are in config.options, config.blob, config.dirs and config.audit")


config = Configuration()

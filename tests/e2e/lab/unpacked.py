# SPDX-License-Identifier: Apache-2.0
"""Mail servers out of Debian packages that are unpacked, not installed (tools/fetch-mail-servers).

Each runs in a mount namespace of its own in which its package lies over /usr, its configuration
and users over /etc, its spool at the place that was compiled into it. The system sees nothing
of this, and nothing is left when the last process has ended.
"""
import os
import shutil

from . import client, process
from .firewall import ROOT
from .origin import maildir, shared_folder

PACKAGES = os.path.join(ROOT, 'build', 'mail-servers')
KEEPER = 64990      # who owns the mailbox: a user of the namespace alone, and so are the servers'

# $1 package, $2 our folder, $3 where the spool belongs; the rest is the program
ENTER = '''
set -e
package=$1 folder=$2 spool=$3
shift 3
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$package/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$folder/etc:/etc" /etc
mount -t overlay overlay -o "lowerdir=$folder/var:/var" /var
mount -t tmpfs tmpfs /run
mount --bind "$folder/spool" "$spool"
exec "$@"
'''


class Unpacked:
    """One server: a subclass names its package, users, spool, configuration and command line."""

    users = ()
    owner = 0           # of the spool: number of that one of the users, from 1 on; 0 = root

    def __init__(self, host, port):
        assert os.path.isdir(f'{PACKAGES}/{self.package}'), f'no {self.package}: tools/fetch-mail-servers fetches it'
        self.folder = shared_folder(f'sp-{self.package}-')
        self.mail = f'{self.folder}/mail'
        self._make_folders()
        self._add_users({'keeper': KEEPER, **{name: KEEPER + 1 + n for n, name in enumerate(self.users)}})
        self._write('hosts', '127.0.0.1 localhost\n')
        self._write('resolv.conf', '')      # nobody answers questions in the lab
        self._write(self.config_name, self.config.format(port=port, mail=self.mail).lstrip())
        self.program = process.Program(
            ['unshare', '-m', 'sh', '-c', ENTER, 'enter', f'{PACKAGES}/{self.package}', self.folder, self.spool,
             *self.command], host)
        try:
            process.wait_until(lambda: self._is_up(host, port), 20, f'{self.package} is up')
        except BaseException:
            self.close()
            raise

    def _make_folders(self):
        for name in ('mail', 'spool', 'etc', f'.{self.spool}', './var/lib/opensmtpd/empty'):
            os.makedirs(f'{self.folder}/{name}')
        os.chmod(f'{self.folder}/spool', 0o711)
        os.chown(self.mail, KEEPER, KEEPER)

    def _add_users(self, users):
        for name, line in (('passwd', '{0}:x:{1}:{1}::/nonexistent:/bin/sh\n'), ('group', '{0}:x:{1}:\n')):
            shutil.copy(f'/etc/{name}', f'{self.folder}/etc/{name}')
            with open(f'{self.folder}/etc/{name}', 'a') as f:
                f.writelines(line.format(user, number) for user, number in users.items())
        if self.owner:
            os.chown(f'{self.folder}/spool', KEEPER + self.owner, KEEPER + self.owner)

    def _write(self, name, text):
        path = f'{self.folder}/etc/{name}'
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)

    def _is_up(self, host, port):
        if not self.program.is_running():
            raise AssertionError(f'{self.package} ended:\n{self.program.output}')
        return client.gets_service(host, '127.0.0.1', port)

    def mails(self):
        return maildir(self.mail)

    def close(self):
        self.program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Exim(Unpacked):
    package = 'exim4-daemon-light'
    spool = '/var/spool/exim4'
    users = ('Debian-exim', )
    command = ('/usr/sbin/exim4', '-bdf')
    config_name = 'exim4/exim4.conf'
    owner = 1
    config = r'''
primary_hostname = origin.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
log_file_path = /var/spool/exim4/%slog
pid_file_path = /run/exim.pid
keep_environment =
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
message_size_limit = 40M
acl_smtp_rcpt = accept
acl_smtp_data = accept
acl_smtp_vrfy = accept
acl_smtp_expn = accept
acl_smtp_etrn = accept
smtp_etrn_command = /bin/true
dsn_advertise_hosts = *
chunking_advertise_hosts = *
smtputf8_advertise_hosts = *

begin acl
accept:
  accept

begin routers
keep:
  driver = accept
  domains = example.com
  transport = keep

begin transports
keep:
  driver = appendfile
  maildir_format
  directory = {mail}
  user = keeper

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{alice}}}}{{eq{{$auth3}}{{secret}}}}}}}}
  server_set_id = $auth2
'''


class OpenSmtpd(Unpacked):
    """It offers AUTH on encrypted connections alone."""

    package = 'opensmtpd'
    spool = '/var/spool/smtpd'
    users = ('opensmtpd', 'opensmtpq')
    command = ('/usr/sbin/smtpd', '-d', '-f', '/etc/smtpd.conf')
    config_name = 'smtpd.conf'
    config = '''
table keepers {{ "@example.com" = keeper }}
listen on 127.0.0.1 port {port} hostname origin.example
action "keep" maildir "{mail}" virtual <keepers>
match from any for domain "example.com" action "keep"
'''

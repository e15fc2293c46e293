# SPDX-License-Identifier: Apache-2.0
"""Certificates of the lab, by the openssl program: a CA with its list of revocations, and one of each kind.

NAME.pem (with the chain behind it) and NAME.key; ca/ and crl/ are folders as policies want them.
"""
import os
import shutil
import subprocess

from .origin import shared_folder

CONFIG = '''
[ca]
default_ca = lab
[lab]
database = {folder}/{ca}.index
serial = {folder}/{ca}.serial
new_certs_dir = {folder}/issued
certificate = {folder}/{ca}.pem
private_key = {folder}/{ca}.key
default_md = sha256
default_crl_days = 30
policy = anything
x509_extensions = leaf
unique_subject = no
[anything]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
subjectAltName = DNS:{name}
'''

# name of the files: name of the host, CA, dates
KINDS = {
    'firewall': ('fw.example', 'ca', ()),
    'good': ('mail.example', 'ca', ()),
    'wrong': ('other.example', 'ca', ()),
    'expired': ('mail.example', 'ca', ('-startdate', '20200101000000Z', '-enddate', '20200201000000Z')),
    'revoked': ('mail.example', 'ca', ()),
    'unknown': ('mail.example', 'stranger', ()),
}


class Pki:
    def __init__(self):
        self.folder = shared_folder('sp-pki-')
        for name in ('issued', 'ca', 'crl'):
            os.mkdir(f'{self.folder}/{name}')
        for ca in ('ca', 'stranger'):
            self._key(ca)
            self._openssl('req', '-x509', '-key', f'{ca}.key', '-subj', f'/CN=Lab {ca}', '-days', '3650', '-out', f'{ca}.pem')
            self._write(f'{ca}.index', '')
            self._write(f'{ca}.serial', '1000\n')
        for kind, (name, ca, dates) in KINDS.items():
            self._certify(kind, name, ca, dates)
        self._openssl('ca', '-config', 'ca.cnf', '-revoke', 'revoked.crt')
        self._openssl('ca', '-config', 'ca.cnf', '-gencrl', '-out', 'list.pem')
        subject = self._openssl('x509', '-in', 'ca.pem', '-noout', '-hash').strip()
        shutil.copy(f'{self.folder}/ca.pem', f'{self.folder}/ca/{subject}.0')
        shutil.copy(f'{self.folder}/list.pem', f'{self.folder}/crl/{subject}.r0')
        for folder, _, files in os.walk(self.folder):
            os.chmod(folder, 0o755)
            for file in files:
                os.chmod(os.path.join(folder, file), 0o644)

    def path(self, name):
        return f'{self.folder}/{name}'

    def _openssl(self, *arguments):
        return subprocess.run(['openssl', *arguments, *(['-batch'] if arguments[0] == 'ca' else [])], cwd=self.folder,
                              check=True, capture_output=True, text=True).stdout

    def _write(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)

    def _key(self, name):
        self._openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', f'{name}.key')

    def _certify(self, kind, name, ca, dates):
        self._key(kind)
        self._write(f'{ca}.cnf', CONFIG.format(folder=self.folder, ca=ca, name=name))
        self._openssl('req', '-new', '-key', f'{kind}.key', '-subj', f'/CN={name}', '-out', f'{kind}.csr')
        self._openssl('ca', '-config', f'{ca}.cnf', '-in', f'{kind}.csr', '-out', f'{kind}.crt', '-notext',
                      *(dates or ('-days', '90')))
        with open(self.path(f'{kind}.crt')) as leaf, open(self.path(f'{ca}.pem')) as issuer:
            self._write(f'{kind}.pem', leaf.read() + issuer.read())

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

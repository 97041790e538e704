#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Puts PostgreSQL, the guest agent and records.py on a disk that make-guest.sh makes. Runs in the system there.
set -e
apt-get update
apt-get install -y --no-install-recommends postgresql python3-psycopg2 qemu-guest-agent
apt-get clean
rm -rf /var/lib/apt/lists/*

version=$(ls /etc/postgresql)
pg_dropcluster "$version" main
pg_createcluster "$version" main -- --data-checksums
# Small, and with a checkpoint as often as can be: so that what is on the disk moves.
cat >"/etc/postgresql/$version/main/conf.d/records.conf" <<'CONF'
jit = off
shared_buffers = 16MB
checkpoint_timeout = 30s
min_wal_size = 32MB
max_wal_size = 64MB
CONF
echo 'local all all trust' >"/etc/postgresql/$version/main/pg_hba.conf"

install -m 755 records.py /usr/local/sbin/records
mkdir -p /data /var/lib/records
echo 'LABEL=data /data ext4 defaults,nofail,discard 0 2' >>/etc/fstab
cat >/etc/systemd/system/records.service <<UNIT
[Unit]
Description=Writes records, or holds those that there are against what they should be
After=postgresql@$version-main.service
RequiresMountsFor=/data

[Service]
ExecStartPre=/usr/bin/udevadm settle
ExecStart=/usr/local/sbin/records

[Install]
WantedBy=multi-user.target
UNIT
systemctl enable records.service

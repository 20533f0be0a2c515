# The first process of a throw-away machine: it lays a root of its own over this machine's, and becomes systemd there.
# Started by machine.rs as root in PID, mount, network, UTS, IPC and cgroup namespaces that were just made; $1 is an
# empty directory, $2 a tree of files that the machine has besides.
#
# Nothing that is written reaches the real machine: the root is an overlay whose upper layer is memory; /tmp, /run,
# /var/tmp, /dev and the units of the admin are new and empty; the kernel's settings cannot be written; and the old root
# is gone before systemd starts.
set -eu
base=$1 tree=$2

mount -t tmpfs -o mode=0755 machine "$base"
mkdir "$base/written" "$base/work" "$base/root"
cp -a "$tree/." "$base/written/"
root=$base/root
mount -t overlay -o "lowerdir=/,upperdir=$base/written,workdir=$base/work" overlay "$root"

for empty in run tmp var/tmp etc/systemd/system etc/systemd/user home; do
    mount -t tmpfs -o mode=0755 new "$root/$empty"
done
chmod 1777 "$root/tmp" "$root/var/tmp"
rm -rf "$root/var/log/journal"

# The kernel's settings are the real machine's too: they can be read.
mount -t proc proc "$root/proc"
for shared in sys sysrq-trigger; do
    [ -e "$root/proc/$shared" ] || continue
    mount --bind "$root/proc/$shared" "$root/proc/$shared"
    mount -o remount,bind,ro "$root/proc/$shared"
done
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

mount -t tmpfs -o mode=0755 dev "$root/dev"
mknod -m 0666 "$root/dev/null" c 1 3
mknod -m 0666 "$root/dev/zero" c 1 5
mknod -m 0666 "$root/dev/full" c 1 7
mknod -m 0666 "$root/dev/random" c 1 8
mknod -m 0666 "$root/dev/urandom" c 1 9
mknod -m 0666 "$root/dev/tty" c 5 0
: >"$root/dev/console"
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"

# What a machine without hardware has no use for, and what would look for it.
units=$root/etc/systemd/system
for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service \
    systemd-modules-load.service systemd-sysctl.service systemd-remount-fs.service systemd-random-seed.service \
    systemd-binfmt.service systemd-hwdb-update.service systemd-update-utmp.service systemd-journald-audit.socket \
    kmod-static-nodes.service dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer logrotate.timer \
    man-db.timer systemd-tmpfiles-clean.timer; do
    ln -s /dev/null "$units/$unit"
done
cat >"$units/machine.target" <<'UNIT'
[Unit]
Description=Everything that a test finds running
Requires=basic.target
After=basic.target sockets.target
UNIT
: >"$root/etc/fstab"
echo 7e1e3e747e1e3e747e1e3e747e1e3e74 >"$root/etc/machine-id"
echo machine >"$root/etc/hostname"
ip link set lo up

cd "$root"
mkdir -p "$root/mnt"
pivot_root . mnt
umount -l /mnt
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=machine \
    /lib/systemd/systemd --system --unit=machine.target --log-target=journal --show-status=no

"""Machines made of a root directory, as `tests/deploy/root` leaves one. Needs root and overlayfs."""

import signal
import subprocess
from pathlib import Path

BOOT = Path(__file__).resolve().parent / "machine_root.sh"
FIREWALL = """#!/bin/sh
printf '%s\\n' "$*" >>/opt/guest/firewall.log
"""


class RootGuest:
    """A machine with its own mounts and processes over a root, which stays as it is.

    User data is started as on a machine of the image: by its unit and, meanwhile, by cloud-init.
    """

    def __init__(self, dir, user_data, root, power_off):
        self.dir = dir
        for name in ("upper", "work", "merged", "guest/bin"):
            (dir / name).mkdir(parents=True)
        # It becomes the machine's root directory, which every user may enter.
        (dir / "upper").chmod(0o755)
        for name in ("poweroff", "shutdown", "halt", "systemctl"):
            (dir / "guest/bin" / name).write_text(power_off)
            (dir / "guest/bin" / name).chmod(0o700)
        # The network, and so the firewall, is the host's.
        (dir / "guest/bin/nft").write_text(FIREWALL)
        (dir / "guest/bin/nft").chmod(0o700)
        (dir / "guest/user-data").write_bytes(user_data)
        with open(dir / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", BOOT, root, dir],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )

    def powered_off(self):
        return (self.dir / "guest/powered-off").exists()

    def end(self):
        """Ends all its processes: they are in a namespace whose first process ends with this one."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

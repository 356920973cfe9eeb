# SPDX-License-Identifier: GPL-2.0
# The powerpc32 machine of scripts/kunit: the kernel's own has no SWIOTLB.
from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(linux_arch='powerpc', kconfig='', qemu_arch='ppc',
			   kernel_path='vmlinux',
			   kernel_command_line='console=ttyS0',
			   extra_qemu_params=['-M', 'ppce500', '-cpu', 'e500mc'])

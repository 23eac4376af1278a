"""A virtual machine with Debian's own kernel, which has the network parts that the kernel of this machine may lack."""

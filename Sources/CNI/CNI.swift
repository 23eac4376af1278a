// The container network interface: what a container runtime (podman, containerd, a kubelet) calls for each container.
//
// - `Protocol/`: parameters, configuration, results in every version, errors. Pure.
// - `Addresses/`: who has which address: `AddressStore` (a directory of `AddressBlock` files), or another plugin.
// - `Drivers/`: one container on one network: links, addresses, routes; `Attachment`.
// - `Rules/`: nf_tables tables of sets and maps: the way out, isolation, published ports.
// - `Kernel/`: netlink and settings.
//
// The walk of an ADD: `CNIPlugin.run` → `CNIRequest` → `NetworkConfiguration` → `Attachment.add` → addresses → links →
// routes → rules → `CNIResult`. What fails is taken back before the error is printed. A DEL goes the other way round and
// goes on when something is gone: first the link, then the rules, then the address.

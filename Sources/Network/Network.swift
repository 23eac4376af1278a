// The node's network: pods, their addresses, their way to each other, to services and to the outside.
//
// - `Netlink/`: requests to the kernel. `RouteSocket` makes links, addresses, routes and neighbours.
// - `Rules/`: what becomes nftables text, all of it pure: `CaptureRules` (inside a pod), `HostRules` (isolation, the
//   way out, host ports), `CompiledServices` (service addresses). `NFTables` sends the text, one transaction each.
// - `Host/`: `HostNetwork.setUp` makes or takes over the node's side; `NetworkInventory` finds and removes it without
//   any memory of having made it.
// - `Pods/`: `attach`, `detach` and `check` of one pod.
// - `IPAM/`: which pod has which address, over crashes.
//
// A packet from a pod goes over the pod's own veth straight into the host's IP layer (no port of any bridge), so
// rules see every packet between pods. What is ours is known by marks: links of group 7533 and 7534, routes of
// protocol 83, tables `skein_*` of family inet, namespaces in the run directory. Nothing else is touched.

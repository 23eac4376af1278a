/// Pods and their containers on one node.
///
/// - `Pods/`: the pure heart. `PodManifest` is a pod read and checked; `PodLifecycle` decides what is started, stopped
///   and asked when; `SidecarPlan` which pods get a proxy; `PodStatus` how the API shows it.
/// - `OCI/`: `ContainerSpec` to the runtime's `config.json`, capabilities, the system call filter, the host's file system
///   as an image.
/// - `Volumes/`, `Images/`: what containers see as files.
/// - `Runtime/`: runc under conmon, and the directories of a node.
/// - `Agent/`: `NodeAgent`, the shell that watches the API and performs what the life cycle says.
public enum NodeWorkloads {}

internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream
internal import XDS

// Whose the addresses are that connections come from and go to: asked for on demand, for the labels of standard metrics.
extension ConfigurationStore {
    /// What is asked for, once somebody tells standard metrics and there is a server that can be asked for single names.
    var wantedWorkloads: [Want] {
        guard context.adsIsDelta, context.hasADS else { return [] }
        return metrics.standard.directory.addresses.map {
            Want(source: .ads, typeURL: EnvoyAPI.Workload.typeURL, name: "\($0)")
        }
    }

    /// The server tells about addresses.
    func setWorkload(_ message: EnvoyAPI.Workload, name: String) throws(ConfigurationError) {
        guard let address = IPAddress(name) else {
            throw ConfigurationError(at: "workloads[\(name)].address", "is no IP address")
        }
        metrics.standard.directory.set(address, WorkloadFacts(message))
    }

    /// The server knows nobody at these addresses (any more).
    func removeWorkloads(_ names: [String]) {
        for address in names.compactMap({ IPAddress($0) }) { metrics.standard.directory.set(address, nil) }
    }
}

/// Tells the control loop that an address was met whose workload is to be asked for.
///
/// `@unchecked Sendable`: `store` is touched on the control loop only.
final class WorkloadAsker: @unchecked Sendable {
    private let loop: EventLoop
    private weak var store: ConfigurationStore?

    init(_ store: ConfigurationStore, loop: EventLoop) {
        self.store = store
        self.loop = loop
    }

    /// Called on any loop.
    func ask() {
        loop.execute { [self] in
            store?.wantsChanged()
            store?.onChange()
        }
    }
}

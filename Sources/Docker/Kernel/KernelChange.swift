internal import CNI
internal import IO

/// One step of what a request changes in the kernel; steps are done in order, and taken back in reverse when one fails.
enum KernelChange: Hashable, Sendable {
    case forward(isV6: Bool)
    case bridge(DockerNetwork)
    case noBridge(DockerNetwork)
    case tunnel(DockerNetwork, EngineNetwork.Tunnel)
    case noTunnel(DockerNetwork, EngineNetwork.Tunnel)
    case pair(DockerEndpoint, DockerNetwork)
    case macvlan(DockerEndpoint, DockerNetwork)
    case noLink(DockerEndpoint)
    case rules(EngineNetwork.Member, EngineNetwork.Purpose, note: String)
    case noRules(EngineNetwork.Member, EngineNetwork.Purpose, note: String)
    case publish([PublishedPort], EngineNetwork.Member, device: String, note: String)
    case withdraw([PublishedPort], EngineNetwork.Member, device: String, note: String)

    /// What takes it back; nil where nothing must be.
    var inverse: KernelChange? {
        switch self {
        case .forward, .noLink, .noBridge, .noTunnel: nil
        case .bridge(let network): .noBridge(network)
        case .tunnel(let network, let tunnel): .noTunnel(network, tunnel)
        case .pair(let endpoint, _), .macvlan(let endpoint, _): .noLink(endpoint)
        case .rules(let member, let purpose, let note): .noRules(member, purpose, note: note)
        case .noRules(let member, let purpose, let note): .rules(member, purpose, note: note)
        case .publish(let ports, let member, let device, let note):
            .withdraw(ports, member, device: device, note: note)
        case .withdraw(let ports, let member, let device, let note):
            .publish(ports, member, device: device, note: note)
        }
    }
}

import EnvoyAPI
import Serialization
import Testing

@testable import Proxy

@Suite("Listeners: many versions with many chains")
struct ListenerPatchTests {
    private func listener(_ count: Int) -> Listener {
        var listener = Listener()
        listener.name = "outbound"
        var socket = EnvoyAPI.SocketAddress()
        socket.address = "127.0.0.1"
        socket.portSpecifier = .portValue(15_001)
        var address = Address()
        address.address = .socketAddress(socket)
        listener.address = address
        listener.filterChains = (0..<count).map { number in
            var proxy = TcpProxy()
            proxy.statPrefix = "outbound|9000||service-\(number).default.svc.cluster.local"
            proxy.clusterSpecifier = .cluster(proxy.statPrefix)
            var filter = Filter()
            filter.name = "envoy.filters.network.tcp_proxy"
            filter.configType = .typedConfig(AnyMessage(packing: proxy))
            var match = FilterChainMatch()
            match.destinationPort = UInt32(number + 1)
            var chain = FilterChain()
            chain.name = "service-\(number).default.svc.cluster.local_9000_tcp"
            chain.filterChainMatch = match
            chain.filters = [filter]
            return chain
        }
        return listener
    }

    @Test("chains are taken over from version to version; now and then those that nobody uses are made anew, together")
    func repacked() throws {
        let context = CompileContext(secrets: SecretStore())
        var config = try ListenerConfig(compiling: listener(40), at: "listener", context: context)
        let first = config.chains
        // A connection has come to the third one.
        first[2].putToWork()
        var renewals = 0
        for version in 1...(2 * Limits.listenerPatches + 2) {
            let before = config.chains
            config = try ListenerConfig(
                compiling: listener(40 + version), at: "listener", context: context, old: config)
            #expect(config.chains[2] === first[2], "what is in use stays")
            let kept = zip(before, config.chains).count { $0 === $1 }
            if kept == 1 { renewals += 1 } else { #expect(kept == before.count) }
            #expect(config.chains.map(\.name) == listener(40 + version).filterChains.map(\.name))
        }
        #expect(renewals == 2)
    }

    @Test("of a listener with few chains all stay as they are")
    func few() throws {
        let context = CompileContext(secrets: SecretStore())
        var config = try ListenerConfig(compiling: listener(4), at: "listener", context: context)
        let first = config.chains
        for _ in 0..<(2 * Limits.listenerPatches) {
            config = try ListenerConfig(compiling: listener(4), at: "listener", context: context, old: config)
        }
        #expect(zip(first, config.chains).allSatisfy { $0 === $1 })
    }
}

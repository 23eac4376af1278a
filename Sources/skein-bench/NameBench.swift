import DNS
import IO
import Serialization
import Telemetry

/// The name server as `skein up` and `skein node` run it, alone: `names LISTEN UPSTREAM SERVICES`.
enum NameBench {
    /// Answers on LISTEN names of so many services, and everything else as the server UPSTREAM does, until standard input ends.
    static func run(_ arguments: [String]) -> Int32 {
        guard arguments.count == 3, let place = SocketAddress(arguments[0]), let upstream = SocketAddress(arguments[1]),
            let count = Int(arguments[2]), (0...100_000).contains(count)
        else {
            Console.error("skein-bench: names LISTEN UPSTREAM SERVICES\n")
            return 2
        }
        var services: [ServiceNames] = []
        for index in 0..<count {
            var service = ServiceNames(name: "web\(index)", namespace: "default")
            service.clusterIPs = [.v4(0x0A60_0000 + UInt32(index))]
            service.ports = [.init(name: "http", number: 80)]
            services.append(service)
        }
        Signals.ignorePipe()
        do {
            let loop = try EventLoop.start(name: "names")
            let forwarder = Forwarder(ForwardingPlan(UpstreamGroup([Upstream(upstream)])), on: loop)
            let server = DNSServer(on: loop, zone: Zone(services: services), forwarder: forwarder)
            var settings = NameSettings(UpstreamGroup([Upstream(upstream)]))
            settings.clientRate = 0  // All queries come from one address.
            server.use(settings)
            let socket = try Socket.datagram(on: place)
            server.serve(descriptor: socket.release(), isStream: false) { Console.error("skein-bench: \($0)\n") }
            say(["listening": .string(place.description)])
            while let line = readLine() { if line == "counts" { Console.out(server.counts.metrics) } }
        } catch {
            Console.error("skein-bench: \(error)\n")
            return 1
        }
        return 0
    }
}

internal import Docker
internal import IO
internal import Telemetry

extension Command {
    private static let socket = Flag(
        "socket", value: "PATH", "where Docker looks for the plugin (default \(DockerPluginServer.socketPath))")
    private static let pool = Flag(
        "pool", value: "CIDR",
        "what networks without --subnet get pieces of, with --ipam-driver skein (default 10.208.0.0/12)")

    static let dockerPlugin = Command(
        "docker-plugin", "", "Serve Docker as the network and address driver \"skein\"",
        details: """
            Runs until Ctrl-C; containers stay on their networks while it does not run. Then, with any Docker engine on this machine:

              docker network create --driver skein my-network
              docker run -d --name my-container --network my-network my-image

            Start it before dockerd, which else forbids all forwarding beside its own (iptables -P FORWARD ACCEPT allows it again).
            Options: -o skein.driver=bridge|macvlan, -o parent=eth0 (macvlan), and those of Docker's own drivers
            bridge and macvlan. Needs root.
            """,
        flags: [socket, pool, .dataDirectory, UpOptions.logLevel]
    ) { invocation throws(CommandError) in
        guard invocation.operands.isEmpty else { throw CommandError.usage("docker-plugin", "it takes no operands") }
        guard Environment.userID == 0 else {
            throw CommandError("skein docker-plugin: it makes network devices, which needs root")
        }
        if let name = invocation.value(UpOptions.logLevel) {
            guard let level = LogLevel(name: name) else {
                throw CommandError.usage("docker-plugin", "--log-level \(name): not a level")
            }
            Logger.level = level
        }
        let range = invocation.value(pool)
        let prefix = range.flatMap { Prefix($0) }
        if range != nil, prefix == nil {
            throw CommandError.usage("docker-plugin", "--pool \(range ?? ""): a network is expected")
        }
        let path = invocation.value(socket) ?? DockerPluginServer.socketPath
        let directory = invocation.dataDirectory + "/docker"
        Signals.block([Signals.interrupt, Signals.terminate, Signals.hangup])
        return try onLoop { loop throws(CommandError) in
            do throws(SystemError) {
                let plugin = try DockerPlugin(directory: directory, pool: prefix)
                let listener = try DockerPluginServer.listen(path, on: loop)
                let source = try SignalSource([Signals.interrupt, Signals.terminate], on: loop) { _ in listener.close()
                }
                defer { source.cancel() }
                await DockerPluginServer.run(plugin, listener, on: loop)
                try File.remove(path)
                return 0
            } catch {
                guard error.errno != 11 else {  // EWOULDBLOCK
                    throw CommandError("skein docker-plugin: another one serves with \(directory) already")
                }
                throw CommandError("skein docker-plugin: \(error)")
            }
        }
    }
}

internal import ControlPlane
internal import IO
internal import Telemetry

extension Command {
    static let controlPlane = Command(
        "control-plane", "", "Run the API server, controllers, discovery and DNS of one machine",
        details: "skein up starts it by itself, as an unprivileged user.",
        flags: [
            .dataDirectory, .runDirectory, UpOptions.api, UpOptions.metrics, UpOptions.pool, UpOptions.services,
            UpOptions.logLevel,
        ]
    ) { invocation throws(CommandError) in
        let up = try UpOptions(invocation)
        var options = ControlPlaneOptions(
            dataDirectory: invocation.dataDirectory, runDirectory: invocation.runDirectory)
        options.apiAddress = up.apiAddress
        options.metricsAddress = up.metricsAddress
        options.reversePrefixes = [up.podPool, up.servicePool]
        if let text = invocation.value(UpOptions.logLevel) {
            guard let level = LogLevel(name: text) else {
                throw CommandError.usage("control-plane", "--log-level \(text): debug, info, warning or error")
            }
            Logger.level = level
        }
        do throws(ControlPlaneError) {
            try ControlPlane.run(options)
        } catch {
            throw CommandError("skein control-plane: \(error)")
        }
        return 0
    }
}

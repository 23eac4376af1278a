internal import ControlPlane
internal import IO
internal import Telemetry

extension Command {
    static let controlPlane = Command(
        "control-plane", "", "Run the API server, controllers, discovery and DNS",
        details: "skein up starts this for one machine; it is no command to type there.",
        flags: [
            .dataDirectory, .runDirectory, UpOptions.api, UpOptions.metrics, UpOptions.discovery, UpOptions.pool,
            UpOptions.logLevel,
        ],
        isHidden: true
    ) { invocation throws(CommandError) in
        let up = try UpOptions(invocation)
        if let level = invocation.value(UpOptions.logLevel).flatMap({ LogLevel(name: $0) }) { Logger.level = level }
        var options = ControlPlaneOptions(dataDirectory: up.dataDirectory, runDirectory: up.runDirectory)
        options.apiAddress = up.apiAddress
        options.metricsAddress = up.metricsAddress
        options.discoveryAddress = up.discoveryAddress
        options.reversePrefixes = [up.podPool] + UpOptions.servicePools
        do throws(ControlPlaneError) {
            try ControlPlane.run(options)
        } catch {
            Logger("control-plane").error("\(error)")
            return 1
        }
        return 0
    }
}

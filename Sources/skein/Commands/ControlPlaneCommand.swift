internal import APIServer
internal import ControlPlane
internal import IO
internal import Telemetry

extension Command {
    static let controlPlane = Command(
        "control-plane", "", "Run the API server, controllers, discovery and DNS",
        details: """
            skein up starts this for one machine; it is no command to type there. With --kubeconfig the objects of a Kubernetes API are
            served to proxies: several may run, one of them (the holder of the Lease skein-system/skein-control-plane) writes statuses.
            """,
        flags: [
            .dataDirectory, .runDirectory, UpOptions.api, UpOptions.metrics, UpOptions.metricsCollector,
            UpOptions.mailProgram, UpOptions.insightMemory, UpOptions.discovery,
            AddressFlags.pods, AddressFlags.services, AddressFlags.balancers,
            NodeFlags.apiNames,
            UpOptions.certificateLifetime, UpOptions.watches, UpOptions.logLevel, .kubeconfig,
        ] + RegistryFlags.all + StoreFlags.all,
        isHidden: true
    ) { invocation throws(CommandError) in
        let up = try UpOptions(invocation)
        if let level = invocation.value(UpOptions.logLevel).flatMap({ LogLevel(name: $0) }) { Logger.level = level }
        var options = ControlPlaneOptions(dataDirectory: up.dataDirectory, runDirectory: up.runDirectory)
        options.apiAddress = up.apiAddress
        options.metricsAddress = up.metricsAddress
        options.metricsCollector = up.metricsCollector
        options.mailProgram = up.mailProgram
        options.insightMebibytes = up.insightMebibytes
        options.store = up.store
        options.watchesMax = up.watchesMax
        options.discoveryAddress = up.discoveryAddress
        options.kubeconfig = invocation.value(.kubeconfig)
        up.registry.apply(to: &options)
        if options.kubeconfig != nil, options.registryAddress != nil {
            throw CommandError.usage(
                "control-plane", "--registry needs an own store: with --kubeconfig there is none")
        }
        options.certificateLifetime = up.certificateLifetime
        options.apiNames = up.apiNames
        options.podPools = up.podPools
        options.serviceRanges = up.serviceRanges
        options.reversePrefixes = up.podPools + up.serviceRanges.all
        do throws(ControlPlaneError) {
            try ControlPlane.run(options)
        } catch {
            Logger("control-plane").error("\(error)")
            return 1
        }
        return 0
    }
}

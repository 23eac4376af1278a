import IO
import Mesh
import Testing

@testable import ControlPlane

@Suite("Families of another cluster's pods")
struct ClusterFamilyTests {
    @Test(
        "proxies listen on both families where the pools say that pods have both, and on IPv4 alone otherwise",
        .timeLimit(.minutes(5)), arguments: [["10.244.0.0/16"], ["10.244.0.0/16", "fd00:244::/48"]])
    func families(pools: [String]) async throws {
        let directory = "/tmp/skein-families-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory, mode: 0o700)
        defer { try? File.removeTree(directory) }
        // Nobody listens at port 1: what pods are like is known before the API answers.
        let kubeconfig = """
            current-context: main
            contexts: [{name: main, context: {cluster: c, user: u}}]
            clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]
            users: [{name: u, user: {token: t}}]
            """
        try File.write(directory + "/kubeconfig", Array(kubeconfig.utf8), mode: 0o600)
        var options = ControlPlaneOptions(dataDirectory: directory, runDirectory: directory)
        options.metricsAddress = .ip(.v4(0x7f00_0001), port: 0)
        options.kubeconfig = directory + "/kubeconfig"
        options.podPools = pools.compactMap { Prefix($0) }
        let loop = try EventLoop.start(name: "families")
        let server = ControlPlaneServer(options, on: loop)
        let isDualStack = await Task(executorPreference: loop) {
            server.start()
            while server.streams == nil, server.failure == nil { await loop.sleep(for: .milliseconds(1)) }
            return server.streams?.publisher.model.config.isDualStack
        }.value
        #expect(server.failure == nil)
        #expect(isDualStack == (pools.count == 2))
        await Task(executorPreference: loop) { server.stop() }.value
    }
}

import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

@Suite("Load reports out of band")
struct OutOfBandReportTests {
    private typealias OutOfBand = ClusterConfig.ReportedWeights.OutOfBand

    private static func compile(_ fields: String) throws -> ClusterConfig {
        let type =
            "type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"
        let json = """
            {"name":"c","load_balancing_policy":{"policies":[{"typed_extension_config":{"name":"p","typed_config":{"@type":"\(type)"\(fields)}}}]}}
            """
        return try ClusterConfig(compiling: Cluster(json: JSON.parse(json)))
    }

    @Test("they are asked for only where the policy says so; period, port, authority and transport socket are its own")
    func compile() throws {
        #expect(try Self.compile("").reportedWeights?.outOfBand == nil)
        let silent = try Self.compile(#","enable_oob_load_report":false,"oob_reporting_period":"1s""#)
        #expect(silent.reportedWeights?.outOfBand == nil && !silent.isMadeAtOnce)
        let plain = try Self.compile(#","enable_oob_load_report":true"#)
        #expect(plain.reportedWeights?.outOfBand == OutOfBand() && plain.isMadeAtOnce)
        #expect(plain.reportedWeights?.outOfBand?.period == .seconds(10))
        let zero = try Self.compile(#","enable_oob_load_report":true,"oob_reporting_period":"0s""#)
        #expect(zero.reportedWeights?.outOfBand?.period == .seconds(10))
        let full = try Self.compile(
            #","enable_oob_load_report":true,"oob_reporting_period":"2.5s","oob_reporting_config":{"port_value":9001,"authority":"orca.test","transport_socket_match_criteria":{"a":"b"}}"#
        ).reportedWeights?.outOfBand
        #expect(full?.period == .milliseconds(2500) && full?.port == 9001 && full?.authority == "orca.test")
        #expect(full?.socketCriteria == .object(["a": .string("b")]))
        #expect(full?.silenceMax == .milliseconds(7500))
    }

    @Test(
        "what cannot be is refused with its path, also where reports are switched off",
        arguments: [
            (#","oob_reporting_period":"-1s""#, "oob_reporting_period: "),
            (#","oob_reporting_config":{"port_value":65536}"#, "oob_reporting_config.port_value: 65536 is above 65535"),
            (#","oob_reporting_config":{"authority":"a b"}"#, "oob_reporting_config.authority: "),
        ])
    func refusals(_ fields: String, _ expected: String) {
        let error = #expect(throws: ConfigurationError.self) { _ = try Self.compile(fields) }
        #expect(error?.description.contains("typed_config." + expected) == true, "\(error?.description ?? "")")
    }

    @Test("a stream goes to the host itself or to another port of it, and names the host")
    func addresses() {
        var endpoint = EndpointTable.Endpoint(address: .ip("10.0.0.1", port: 80))
        var settings = OutOfBand()
        #expect(settings.address(of: endpoint) == .ip("10.0.0.1", port: 80))
        #expect(settings.authority(of: endpoint, at: .ip("::1", port: 9), cluster: "c") == "[::1]:9")
        endpoint.hostname = "web.test"
        settings.port = 9001
        #expect(settings.address(of: endpoint) == .ip("10.0.0.1", port: 9001))
        #expect(settings.authority(of: endpoint, at: .ip("10.0.0.1", port: 9001), cluster: "c") == "web.test")
        settings.authority = "orca.test"
        #expect(settings.authority(of: endpoint, at: .ip("10.0.0.1", port: 9001), cluster: "c") == "orca.test")
        let pipe = EndpointTable.Endpoint(address: .pipe("/run/a.sock"))
        #expect(settings.address(of: pipe) == .pipe("/run/a.sock"))
        #expect(OutOfBand().authority(of: pipe, at: pipe.address, cluster: "c") == "c")
        #expect(settings.address(of: EndpointTable.Endpoint(address: .name("web.test", port: 1))) == nil)
        #expect(settings.address(of: EndpointTable.Endpoint(address: .listener("l", endpoint: ""))) == nil)
    }

    @Test("streams begin within one period, and again after a second to thirty, with jitter")
    func waits() {
        let settings = OutOfBand()
        #expect(settings.firstWait(random: 0) == .zero)
        #expect(settings.firstWait(random: .max) < settings.period)
        #expect(OutOfBand.wait(after: 1, random: .max) < .seconds(1))
        #expect(OutOfBand.wait(after: 3, random: .max) > .seconds(3))
        #expect(OutOfBand.wait(after: .max, random: .max) <= .seconds(30))
    }

    @Test("a report gives a weight by requests and utilization, and none where it says nothing")
    func weights() {
        let settings = ClusterConfig.ReportedWeights()
        var report = LoadReport()
        #expect(ReportedWeight.weight(by: report, settings) == nil)
        report.requestsPerSecond = 100
        #expect(ReportedWeight.weight(by: report, settings) == nil)
        report.cpuUtilization = 0.5
        #expect(ReportedWeight.weight(by: report, settings) == 200)
    }
}

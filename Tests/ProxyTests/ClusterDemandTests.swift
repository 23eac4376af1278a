import IO
import Testing

@testable import Proxy

@Suite("Clusters on demand: who is asked, who is told")
struct ClusterDemandTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000)
    private let file = DiscoverySource.file(.init(path: "a", directory: "."))

    private func idle(_ name: String) -> ClusterDemand.Traffic { ClusterDemand.Traffic(total: 0, active: 0) }

    @Test("a cluster is asked for once, and every worker that waits is told once")
    func once() {
        var demand = ClusterDemand()
        #expect(demand.ask("a", from: .ads, worker: 0, isPresent: false, now: start) == .wait(isNew: true))
        #expect(demand.ask("a", from: .ads, worker: 1, isPresent: false, now: start) == .wait(isNew: false))
        #expect(demand.ask("a", from: .ads, worker: 1, isPresent: false, now: start) == .wait(isNew: false))
        #expect(demand.wanted.map(\.name) == ["a"])
        // It came, but not yet its endpoints.
        demand.came("a")
        #expect(demand.arrived { _ in false } == [])
        #expect(
            demand.arrived { $0 == "a" } == [
                ClusterDemand.Notice(name: "a", workers: [0, 1], outcome: .available)
            ])
        #expect(demand.arrived { $0 == "a" } == [])
        #expect(demand.ask("a", from: .ads, worker: 0, isPresent: true, now: start) == .known(.available))
    }

    @Test("what nobody waits for is asked for once, and what is given up is told to who waits")
    func wanted() {
        var demand = ClusterDemand(max: 2)
        #expect(demand.want("a", from: .ads, isPresent: false, now: start) == true)
        #expect(demand.want("a", from: .ads, isPresent: false, now: start) == false)
        #expect(demand.ask("a", from: .ads, worker: 1, isPresent: false, now: start) == .wait(isNew: false))
        #expect(demand.want("b", from: .ads, isPresent: true, now: start) == true)
        #expect(demand.want("c", from: .ads, isPresent: true, now: start) == false, "there is a bound")
        let told = demand.forget { $0 == "a" }
        #expect(told == [ClusterDemand.Notice(name: "a", workers: [1], outcome: .missing)])
        #expect(demand.wanted.map(\.name) == ["b"])
    }

    @Test("what the server does not have nobody waits for, until it is forgotten after a minute")
    func missing() {
        var demand = ClusterDemand()
        _ = demand.ask("a", from: .ads, worker: 2, isPresent: false, now: start)
        #expect(
            demand.missing(["a", "b"], now: start) == [
                ClusterDemand.Notice(name: "a", workers: [2], outcome: .missing)
            ])
        #expect(demand.ask("a", from: .ads, worker: 0, isPresent: false, now: start) == .known(.missing))
        #expect(demand.sweep(now: start + .seconds(59), traffic: idle).left == [])
        // Another server may have it.
        #expect(demand.ask("a", from: file, worker: 0, isPresent: false, now: start) == .wait(isNew: true))
        _ = demand.missing(["a"], now: start)
        #expect(demand.sweep(now: start + .seconds(60), traffic: idle).left == ["a"])
        #expect(demand.ask("a", from: .ads, worker: 0, isPresent: false, now: start) == .wait(isNew: true))
    }

    @Test("a cluster that the server sends after all is there for the next request")
    func late() {
        var demand = ClusterDemand()
        _ = demand.ask("a", from: .ads, worker: 0, isPresent: false, now: start)
        _ = demand.missing(["a"], now: start)
        demand.came("a")
        #expect(demand.ask("a", from: .ads, worker: 0, isPresent: false, now: start) == .wait(isNew: false))
        #expect(demand.arrived { _ in true }.map(\.outcome) == [.available])
    }

    @Test(
        "a cluster leaves after thirty minutes without traffic, not before, and not while something is going on in it")
    func leaves() {
        var demand = ClusterDemand()
        var traffic = ClusterDemand.Traffic(total: 0, active: 0)
        _ = demand.ask("a", from: .ads, worker: 0, isPresent: false, now: start)
        _ = demand.arrived { _ in true }
        func sweep(_ minutes: Int) -> [String] {
            demand.sweep(now: start + .seconds(minutes * 60)) { _ in traffic }.left
        }
        #expect(sweep(29) == [])
        traffic.total = 1
        #expect(sweep(30) == [])
        #expect(sweep(59) == [])
        traffic.active = 1
        #expect(sweep(60) == [])
        traffic.active = 0
        #expect(sweep(89) == [])
        #expect(sweep(90) == ["a"])
        #expect(demand.count == 0)
        #expect(demand.wanted.isEmpty)
    }

    @Test("a question that is never answered leaves too, and its workers are told")
    func silence() {
        var demand = ClusterDemand()
        _ = demand.ask("a", from: .ads, worker: 3, isPresent: false, now: start)
        #expect(demand.sweep(now: start + .seconds(299), traffic: idle).left == [])
        let (left, notices) = demand.sweep(now: start + .seconds(300), traffic: idle)
        #expect(left == ["a"])
        #expect(notices == [ClusterDemand.Notice(name: "a", workers: [3], outcome: .missing)])
    }

    @Test("names from outside are bounded")
    func bounded() {
        var demand = ClusterDemand(max: 2)
        for name in ["a", "b"] { _ = demand.ask(name, from: .ads, worker: 0, isPresent: false, now: start) }
        #expect(demand.ask("c", from: .ads, worker: 0, isPresent: false, now: start) == .overflow)
        #expect(demand.ask("a", from: .ads, worker: 0, isPresent: false, now: start) == .wait(isNew: false))
        #expect(demand.count == 2)
    }
}

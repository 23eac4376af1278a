import IO
import Testing

@testable import Store

@Suite("Turns of servers on one etcd")
struct EtcdTurnsTests {
    private let now = MonotonicTime.now

    @Test("who is overtaken twice in a row says so, not more than twice a second, and takes it back with its step")
    func saying() {
        var turns = EtcdTurns()
        var said = (0..<2).map { _ in turns.wasOvertaken(now) }
        #expect(said == [false, true] && turns.hasSaid)
        said = [499, 500].map { turns.wasOvertaken(now + .milliseconds($0)) }
        #expect(said == [false, true])
        turns.stored(now)
        said = [turns.wasOvertaken(now)]
        #expect(said == [false] && !turns.hasSaid)
    }

    @Test("who has stored a step pauses while another one waits, half a second at most, until the other's step comes")
    func pausing() {
        var turns = EtcdTurns()
        turns.stored(now)
        #expect(turns.pause(now) == nil, "nobody waits")
        turns.heard("other", waits: true, now)
        #expect(turns.pause(now) == nil, "one step of ours comes first")
        turns.stored(now)
        #expect(turns.pause(now) == EtcdTurns.pauseMax)
        #expect(turns.pause(now + .milliseconds(499)) == .milliseconds(1))
        #expect(turns.pause(now + .milliseconds(500)) == nil)
        turns.otherStored()
        #expect(turns.pause(now) == nil)
        turns.stored(now)
        #expect(turns.pause(now) == EtcdTurns.pauseMax)
        turns.heard("other", waits: false, now)
        turns.stored(now)
        #expect(turns.pause(now) == nil)
    }

    @Test("a word that nobody takes back stands two seconds, and no more than 64 servers are known")
    func bounds() {
        var turns = EtcdTurns()
        turns.heard("dead", waits: true, now)
        turns.stored(now + .milliseconds(1_999))
        #expect(turns.pause(now + .milliseconds(1_999)) != nil)
        turns.stored(now + .seconds(2))
        #expect(turns.pause(now + .seconds(2)) == nil)
        for number in 0...EtcdTurns.serversMax { turns.heard("\(number)", waits: true, now) }
        for number in 0..<EtcdTurns.serversMax { turns.heard("\(number)", waits: false, now) }
        turns.stored(now)
        #expect(turns.pause(now) == nil)
    }
}

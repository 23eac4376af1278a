internal import CNGHTTP2
internal import IO

/// Counts what a peer sends against what that may be: each flood of attacks.md has its budget (ATK-01, ATK-04).
///
/// Pure: the time comes as an argument. Budgets grow with useful traffic, so that a busy honest peer is never told to go away.
struct HTTP2FrameBudget {
    private let limits: HTTP2Limits
    private var emptyFrames = 0
    private var priorityFrames = 0
    private var windowUpdates = 0
    private var controlFrames = 0
    private var usefulFrames = 0
    private var streamsOpened = 0
    private var dataFramesSent = 0
    private var resetsLeft: Int
    private var refilled: MonotonicTime?

    init(_ limits: HTTP2Limits) {
        self.limits = limits
        resetsLeft = limits.resetBurst
    }

    /// A stream was opened, by either side.
    mutating func streamOpened() { streamsOpened &+= 1 }

    /// A DATA frame was sent: the peer may answer it with WINDOW_UPDATE.
    mutating func dataSent() { dataFramesSent &+= 1 }

    /// A request was answered: the peer earns a reset.
    mutating func streamCompleted() { if resetsLeft < limits.resetBurst { resetsLeft &+= 1 } }

    /// The peer reset a stream that we had not answered; whether that is still within bounds.
    mutating func resetReceived(at now: MonotonicTime?) -> Bool {
        if let now {
            let since = refilled.map { now - $0 } ?? .zero
            let earned = since.wholeNanoseconds / 1_000_000_000 &* UInt64(max(limits.resetRate, 0))
            if earned > 0 || refilled == nil {
                resetsLeft = min(limits.resetBurst, resetsLeft &+ Int(clamping: min(earned, 1 << 20)))
                refilled = now
            }
        }
        guard resetsLeft > 0 else { return false }
        resetsLeft &-= 1
        return true
    }

    /// A frame begins; what it exceeds, if anything.
    mutating func received(type: UInt8, flags: UInt8, byteCount: Int) -> HTTP2Counter? {
        switch UInt32(type) {
        case NGHTTP2_DATA.rawValue, NGHTTP2_HEADERS.rawValue, NGHTTP2_CONTINUATION.rawValue:
            let isEnd = UInt32(flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0
            let endsHeaders =
                UInt32(type) != NGHTTP2_DATA.rawValue && UInt32(flags) & NGHTTP2_FLAG_END_HEADERS.rawValue != 0
            if byteCount == 0, !isEnd, !endsHeaders {
                emptyFrames &+= 1
                return emptyFrames > limits.emptyFrames ? .inbound_empty_frames_flood : nil
            }
            emptyFrames = 0
            usefulFrames &+= 1
            return nil
        case NGHTTP2_PRIORITY.rawValue:
            priorityFrames &+= 1
            let allowed = limits.priorityFrames.multipliedReportingOverflow(by: streamsOpened &+ 1)
            return !allowed.overflow && priorityFrames > allowed.partialValue ? .inbound_priority_frames_flood : nil
        case NGHTTP2_WINDOW_UPDATE.rawValue:
            windowUpdates &+= 1
            let earned = limits.windowUpdateFrames.multipliedReportingOverflow(by: dataFramesSent)
            // Envoy's formula: five, and for each stream two besides.
            let allowed = 5 &+ 2 &* (streamsOpened &+ (earned.overflow ? .max / 4 : min(earned.partialValue, .max / 4)))
            return windowUpdates > allowed ? .inbound_window_update_frames_flood : nil
        case NGHTTP2_RST_STREAM.rawValue: return nil
        default:
            // PING, SETTINGS, GOAWAY. Types that nobody knows do not come here: nghttp2 skips them, which costs less than sending them.
            controlFrames &+= 1
            return controlFrames > limits.controlBurst &+ 2 &* usefulFrames ? .inbound_control_frames_flood : nil
        }
    }
}

internal import HTTP
internal import Upstream

/// `x-request-id`: a random UUID (version 4).
enum RequestID {
    static func append(to headers: inout HeaderTable, _ random: inout SplitMix64) {
        let high = (random.next() & ~0xF000) | 0x4000
        let low = (random.next() & ~(0b11 << 62)) | (0b10 << 62)
        headers.append(.xRequestId, uuid: (high, low))
    }
}

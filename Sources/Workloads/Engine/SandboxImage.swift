/// The image of sandboxes and proxies: one program that does nothing, and the places that mounts need.
///
/// Made here, byte by byte, so that no registry is asked for it.
enum SandboxImage {
    static let repository = "skein.dev/sandbox"
    static let tag = "1"
    static var reference: String { "\(repository):\(tag)" }
    /// The program in it, which waits for ever and is killed.
    static let program = "/pause"

    /// A Linux program of 64 bits: pause(2), again and again.
    static var executable: [UInt8] {
        #if arch(x86_64)
            let machine: UInt16 = 62
            let code: [UInt8] = [
                0xb8, 34, 0, 0, 0,  // mov $34, %eax (pause)
                0x0f, 0x05,  // syscall
                0xeb, 0xf7,  // jmp to the beginning
            ]
        #else
            let machine: UInt16 = 183
            let code = [
                0xd280_0928, 0xd280_0000, 0xd280_0001, 0xd280_0002, 0xd280_0003, 0xd280_0004,  // ppoll(0, 0, 0, 0, 0)
                0xd400_0001,  // svc #0
                0x17ff_fff9,  // b to the beginning
            ].flatMap { (word: UInt32) in little(UInt64(word), 4) }
        #endif
        let headers = 64 + 56
        let size = UInt64(headers + code.count)
        let base: UInt64 = 0x40_0000
        var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        file += little(2, 2) + little(UInt64(machine), 2) + little(1, 4) + little(base + UInt64(headers), 8)
        file += little(64, 8) + little(0, 8) + little(0, 4) + little(64, 2) + little(56, 2) + little(1, 2)
        file += little(64, 2) + little(0, 2) + little(0, 2)
        // One segment: the whole file, readable and executable.
        file += little(1, 4) + little(5, 4) + little(0, 8) + little(base, 8) + little(base, 8)
        file += little(size, 8) + little(size, 8) + little(0x1000, 8)
        return file + code
    }

    private static func little(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }

    /// The root file system as an archive; `links` are those that the machine's `/` has to its programs.
    static func archive(links: [(name: String, target: String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for name in ["dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"] {
            bytes += header(name + "/", mode: name == "tmp" ? 0o1777 : 0o755, size: 0, type: 0x35)
        }
        for link in links { bytes += header(link.name, mode: 0o777, size: 0, type: 0x32, target: link.target) }
        let program = executable
        bytes += header(String(self.program.dropFirst()), mode: 0o755, size: program.count, type: 0x30)
        bytes += program + [UInt8](repeating: 0, count: (512 - program.count % 512) % 512)
        return bytes + [UInt8](repeating: 0, count: 1024)
    }

    /// A header of ustar(5).
    private static func header(_ name: String, mode: Int, size: Int, type: UInt8, target: String = "") -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int, _ length: Int) {
            for (index, byte) in text.utf8.prefix(length).enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int, at offset: Int, _ digits: Int) {
            let text = String(value, radix: 8)
            put(String(repeating: "0", count: max(0, digits - text.count)) + text, at: offset, digits)
        }
        put(name, at: 0, 100)
        octal(mode, at: 100, 7)
        octal(0, at: 108, 7)
        octal(0, at: 116, 7)
        octal(size, at: 124, 11)
        octal(0, at: 136, 11)
        put(String(repeating: " ", count: 8), at: 148, 8)
        block[156] = type
        put(target, at: 157, 100)
        put("ustar", at: 257, 5)
        put("00", at: 263, 2)
        octal(block.reduce(0) { $0 + Int($1) }, at: 148, 6)
        block[154] = 0
        return block
    }
}

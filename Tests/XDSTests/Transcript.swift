import Glibc
import Testing

/// A file of commands and what they print.
///
/// Blocks of commands, a line `----`, and the exact output up to an empty
/// line. Lines that begin with `#` are comments.
struct Transcript {
    struct Block {
        var line: Int
        var commands: [String]
        var output: [String]
    }

    let blocks: [Block]

    init(_ name: String, file: String = #filePath) throws {
        let folder = file.split(separator: "/").dropLast().joined(separator: "/")
        let stream = try #require(fopen("/\(folder)/Transcripts/\(name).txt", "r"))
        defer { fclose(stream) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&buffer, 1, buffer.count, stream)
            guard count > 0 else { break }
            text += buffer[..<count]
        }
        var blocks: [Block] = []
        var block = Block(line: 1, commands: [], output: [])
        var isOutput = false
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !line.hasPrefix("#") {
            if line.isEmpty {
                if isOutput { blocks.append(block) }
                block = Block(line: index + 2, commands: [], output: [])
                isOutput = false
            } else if line == "----" {
                isOutput = true
            } else if isOutput {
                block.output.append(String(line))
            } else {
                block.commands.append(String(line))
            }
        }
        self.blocks = blocks
    }

    /// Runs every command and compares; `run` returns the lines that one command prints.
    func check(_ run: (String) throws -> [String]) rethrows {
        for block in blocks {
            var output: [String] = []
            for command in block.commands { output += try run(command) }
            #expect(output == block.output, "line \(block.line): \(block.commands)")
        }
        #expect(!blocks.isEmpty)
    }
}

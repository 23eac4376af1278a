import CNI
import IO

// A container runtime calls this, with CNI_* in the environment and the configuration on standard input.

func run() -> Int32 {
    let plugin = CNIPlugin(variable: Environment.variable)
    let answer = plugin.call(input: StandardInput.read(limit: CNIPlugin.inputMax)) { Console.error($0 + "\n") }
    Console.out(answer.output)
    return answer.status
}

Environment.exit(run())

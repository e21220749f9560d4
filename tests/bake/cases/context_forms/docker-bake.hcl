group "default" { targets = ["a", "b", "c", "d"] }
target "a" { context = "cwd://sub" }
target "b" { context = "./x/../y/" }
target "c" { context = "https://github.com/a/b.git#main:sub" }
target "d" {
  context = "/abs/path/"
  contexts = { n = "./x/../y" }
}

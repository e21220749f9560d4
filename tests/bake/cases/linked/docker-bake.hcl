target "a" { contexts = { x = "target:b" } }
target "b" {
  contexts = { y = "target:c" }
  tags = ["b"]
}
target "c" { output = ["type=docker"] }
target "self" { contexts = { x = "target:self" } }
target "loop1" { contexts = { x = "target:loop2" } }
target "loop2" { contexts = { x = "target:loop1" } }
target "plat" {
  contexts = { x = "target:plat2" }
  platforms = ["linux/amd64", "linux/arm64"]
}
target "plat2" { platforms = ["linux/amd64", "linux/s390x"] }
target "missing" { contexts = { x = "target:nowhere" } }

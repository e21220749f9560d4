target "default" {
  description = "It has <all> & more"
  context = "c"
  contexts = { a = "target:other", b = "docker-image://x", c = "./d", empty = "" }
  dockerfile = "D"
  dockerfile-inline = "FROM x\nRUN echo $${HOME}\n"
  args = { A = "$${B}", P = "%%{C}" }
  labels = { L = "l" }
  tags = ["t", "t", "u"]
  target = "s"
  platforms = ["linux/amd64", "linux/amd64"]
  pull = true
  no-cache = false
  network = "host"
  no-cache-filter = ["n"]
  shm-size = "128m"
  ulimits = ["nofile=1:2"]
  call = "check"
  entitlements = ["security.insecure"]
  extra-hosts = { h = "1.1.1.1" }
}
target "other" {
  entitlements = ["network.host"]
  tags = ["o"]
}

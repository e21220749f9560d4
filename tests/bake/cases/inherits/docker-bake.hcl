target "default" {
  inherits = ["a", "b"]
  args = { own = "1" }
}
target "a" {
  args = { x = "a", y = "a", gone = null }
  tags = ["a:1"]
  platforms = ["linux/amd64"]
  no-cache-filter = ["s"]
  cache-from = ["type=registry,ref=r/a"]
  secret = ["id=k,src=a.txt", "id=l,env=L"]
  labels = { "com.example" = "a" }
}
target "b" {
  inherits = ["c"]
  args = { y = "b" }
  tags = ["b:1", "b:2"]
  no-cache-filter = ["t"]
  cache-from = ["type=registry,ref=r/b", "r/c"]
  secret = ["id=k,src=b.txt"]
}
target "c" { pull = true }

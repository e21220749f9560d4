group "default" { targets = ["web", "db"] }
group "all" {
  description = "everything"
  targets = ["default", "extra"]
}
target "web" { context = "./web/" }
target "db" { dockerfile = "db.Dockerfile" }
target "extra" { target = "stage" }
target "worker" {}

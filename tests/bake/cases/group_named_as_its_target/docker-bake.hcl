group "default" { targets = ["default"] }
group "web" { targets = ["web", "db"] }
group "all" { targets = ["web"] }
target "default" { tags = ["default"] }
target "web" { tags = ["web"] }
target "db" { tags = ["db"] }

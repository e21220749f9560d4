base = "img"
full = "${base}:1"
target "default" { tags = [full] }

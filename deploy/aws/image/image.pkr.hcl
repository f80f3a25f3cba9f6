# packer init . && packer build -var region=eu-central-1 .
# One image per architecture. The result is printed as an AMI ID, for `image` of a class.

variable "region" {
  type        = string
  description = "The Region in which the image is made."
}

variable "system" {
  type        = string
  default     = "ubuntu-24.04"
  description = "ubuntu-24.04 or amazon-linux-2023."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "The subnet of the machine that makes the image. Empty: one of the default VPC."
}

variable "disk_gib" {
  type        = number
  default     = 20
  description = "The size of the image's disk."
}

variable "instance_type_amd64" {
  type    = string
  default = "c7a.large"
}

variable "instance_type_arm64" {
  type    = string
  default = "c7g.large"
}

locals {
  stamp = formatdate("YYYYMMDD-hhmmss", timestamp())
  # The owners of the stock images, and how these are named.
  systems = {
    "ubuntu-24.04" = {
      owner  = "099720109477"
      user   = "ubuntu"
      device = "/dev/sda1"
      amd64  = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"
      arm64  = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-*"
    }
    "amazon-linux-2023" = {
      owner  = "137112412989"
      user   = "ec2-user"
      device = "/dev/xvda"
      amd64  = "al2023-ami-2023.*-x86_64"
      arm64  = "al2023-ami-2023.*-arm64"
    }
  }
  system = local.systems[var.system]
}

source "amazon-ebs" "image" {
  region        = var.region
  subnet_id     = var.subnet_id
  ssh_username  = local.system.user
  imds_support  = "v2.0"
  ena_support   = true
  ebs_optimized = true

  # The machine that makes the image, and every machine made of it, answers IMDSv2 only.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  launch_block_device_mappings {
    device_name           = local.system.device
    volume_size           = var.disk_gib
    volume_type           = "gp3"
    delete_on_termination = true
  }

  tags = {
    Name   = "tinqs-ci ${var.system}"
    system = var.system
    base   = "{{ .SourceAMIName }}"
  }
}

build {
  source "amazon-ebs.image" {
    name          = "amd64"
    ami_name      = "tinqs-ci-${var.system}-amd64-${local.stamp}"
    instance_type = var.instance_type_amd64

    source_ami_filter {
      owners      = [local.system.owner]
      most_recent = true
      filters = {
        name                = local.system.amd64
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
  }

  source "amazon-ebs.image" {
    name          = "arm64"
    ami_name      = "tinqs-ci-${var.system}-arm64-${local.stamp}"
    instance_type = var.instance_type_arm64

    source_ami_filter {
      owners      = [local.system.owner]
      most_recent = true
      filters = {
        name                = local.system.arm64
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
  }

  # apt may still be in use by the first boot.
  provisioner "shell" {
    inline = ["cloud-init status --wait || true", "mkdir -p /tmp/tinqs-ci-image"]
  }

  provisioner "file" {
    sources = [
      "${path.root}/provision",
      "${path.root}/versions",
      "${path.root}/tinqs-ci-image-check",
      "${path.root}/tinqs-ci-early-start",
      "${path.root}/tinqs-ci-machine.service",
    ]
    destination = "/tmp/tinqs-ci-image/"
  }

  provisioner "shell" {
    inline = [
      "sudo bash /tmp/tinqs-ci-image/provision",
      "sudo tinqs-ci-image-check",
      "sudo bash /tmp/tinqs-ci-image/provision seal",
    ]
  }
}

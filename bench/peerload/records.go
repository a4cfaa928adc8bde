// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

// The records that hot benches read, as a program would have them: every field is
// decoded into a struct, as containerd's client does.

type image struct {
	Name             string
	Labels           map[string]string
	Target           descriptor
	Annotations      map[string]string
	Created, Updated int64
}

type envelope struct {
	Seq, Timestamp   int64
	Namespace, Topic string
	TypeURL          string
	Name             string // of an event of an image
	Other            interface{}
}

func (d *decoder) strings() map[string]string {
	n := d.mapLen()
	m := make(map[string]string, n)
	for ; n > 0 && d.err == nil; n-- {
		k := d.str()
		m[k] = d.str()
	}
	return m
}

func (d *decoder) image(x *image) {
	for n := d.mapLen(); n > 0 && d.err == nil; n-- {
		switch string(d.raw()) {
		case "name":
			x.Name = d.str()
		case "labels":
			x.Labels = d.strings()
		case "target":
			for k := d.mapLen(); k > 0 && d.err == nil; k-- {
				switch string(d.raw()) {
				case "media_type":
					x.Target.MediaType = d.str()
				case "digest":
					x.Target.Digest = d.str()
				case "size":
					x.Target.Size = d.int()
				case "annotations":
					x.Annotations = d.strings()
				default:
					d.skip()
				}
			}
		case "created_at":
			x.Created = d.int()
		case "updated_at":
			x.Updated = d.int()
		default:
			d.skip()
		}
	}
}

func (d *decoder) images() []image {
	l := make([]image, d.array())
	for i := range l {
		d.image(&l[i])
	}
	return l
}

func (d *decoder) envelope(x *envelope) {
	for n := d.mapLen(); n > 0 && d.err == nil; n-- {
		switch string(d.raw()) {
		case "seq":
			x.Seq = d.int()
		case "timestamp":
			x.Timestamp = d.int()
		case "namespace":
			x.Namespace = d.str()
		case "topic":
			x.Topic = d.str()
		case "event":
			for k := d.mapLen(); k > 0 && d.err == nil; k-- {
				switch string(d.raw()) {
				case "type_url":
					x.TypeURL = d.str()
				case "value":
					// type_url comes first: encoded records keep the order of their fields.
					if x.TypeURL != imageCreated {
						x.Other = d.value()
						break
					}
					for j := d.mapLen(); j > 0 && d.err == nil; j-- {
						if string(d.raw()) == "name" {
							x.Name = d.str()
						} else {
							d.skip()
						}
					}
				default:
					d.skip()
				}
			}
		default:
			d.skip()
		}
	}
}

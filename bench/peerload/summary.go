// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
)

// summary prints markdown tables with the medians over the repetitions, in
// the order in which the benches first appear.
func summary(files []string) error {
	type key struct {
		bench   string
		clients int
		target  string
	}
	var order []key
	rs := map[key][]result{}
	type mkey struct{ name, target string }
	var morder []mkey
	ms := map[mkey][]metric{}
	for _, f := range files {
		fh, err := os.Open(f)
		if err != nil {
			return err
		}
		sc := bufio.NewScanner(fh)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			var r result
			var m metric
			json.Unmarshal(sc.Bytes(), &m)
			json.Unmarshal(sc.Bytes(), &r)
			switch {
			case m.Metric != "":
				k := mkey{m.Metric, m.Target}
				if ms[k] == nil {
					morder = append(morder, k)
				}
				ms[k] = append(ms[k], m)
			case r.Bench != "":
				k := key{r.Bench, r.Clients, r.Target}
				if rs[k] == nil {
					order = append(order, k)
				}
				rs[k] = append(rs[k], r)
			}
		}
		fh.Close()
		if err := sc.Err(); err != nil {
			return err
		}
	}
	fmt.Println("| bench | target | clients | n | ops/s | p50 us | p90 us | p99 us | max us | MB/s | server CPU us/op | client CPU us/op | errors | reps | ops/s spread | other CPU |")
	fmt.Println("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, k := range order {
		l := rs[k]
		get := func(f func(r result) float64) []float64 {
			var v []float64
			for _, r := range l {
				v = append(v, f(r))
			}
			return v
		}
		ops := get(func(r result) float64 { return r.Ops })
		errs := 0
		for _, r := range l {
			errs += r.Errors
		}
		mb := num(median(get(func(r result) float64 { return r.MBs })))
		if d := median(get(func(r result) float64 { return r.Deliv })); d > 0 {
			mb = num(d) + " deliveries/s"
		}
		fmt.Printf("| %s | %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s | %d | %d | %s | %s |\n", k.bench, k.target, k.clients,
			num(median(get(func(r result) float64 { return float64(r.N) }))), num(median(ops)),
			num(median(get(func(r result) float64 { return r.P50 }))), num(median(get(func(r result) float64 { return r.P90 }))),
			num(median(get(func(r result) float64 { return r.P99 }))), num(median(get(func(r result) float64 { return r.Max }))), mb,
			num(median(get(func(r result) float64 { return r.SrvCPU }))), num(median(get(func(r result) float64 { return r.CliCPU }))),
			errs, len(l), spreadOf(ops), spreadOf(get(func(r result) float64 { return r.Other })))
	}
	if len(morder) > 0 {
		fmt.Println("\n| metric | target | median | unit | spread | reps | note |")
		fmt.Println("|---|---|--:|---|--:|--:|---|")
		for _, k := range morder {
			var v []float64
			for _, m := range ms[k] {
				v = append(v, m.Value)
			}
			l := ms[k]
			fmt.Printf("| %s | %s | %s | %s | %s | %d | %s |\n", k.name, k.target, num(median(v)), l[0].Unit, spreadOf(v), len(v), l[0].Note)
		}
	}
	return nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func num(f float64) string {
	switch {
	case f == 0:
		return ""
	case math.Abs(f) >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case math.Abs(f) >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

func spreadOf(v []float64) string {
	if len(v) == 0 {
		return ""
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	z := func(f float64) string {
		if f == 0 {
			return "0"
		}
		return num(f)
	}
	return z(s[0]) + "-" + z(s[len(s)-1])
}

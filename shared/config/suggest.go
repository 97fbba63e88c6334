package config

import "strings"

// suggest is the advice for an unknown name: the nearest known one when it is near enough, else where to look.
func suggest(name string, known []string, prefix, otherwise string) string {
	if len(name) > 100 {
		return otherwise
	}
	best, bestDistance := "", 1+max(2, len(name)/3)
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		// "portal.prot" is nearer to a key of its own section, and "listen" alone means a setting that ends so.
		if _, last, ok := strings.Cut(k, "."); ok && strings.EqualFold(last, name) {
			d = 1
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return otherwise
	}
	return "did you mean " + prefix + best + "?"
}

// distance is the number of letters to insert, remove, replace or swap with their neighbour to make a from b.
func distance(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

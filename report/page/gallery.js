// The gallery: only its table moves.
document.querySelectorAll("table.sortable").forEach(sortable);

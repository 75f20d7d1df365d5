#include "base/html.h"

#include <stdarg.h>
#include <stdio.h>

static const char style[] =
    "<style>:root{color-scheme:light dark;--bg:#fff;--fg:#1c2430;--dim:#5c6878;--line:#dde3ea;--card:#f5f7fa;"
    "--t0:#3b7ddd;--t1:#e07b39;--t2:#3a9d6e;--t3:#a85cc4;--t4:#c9a227;--t5:#d1495b;--t6:#3aa6b9;--t7:#8a94a3}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14181e;--fg:#e4e9f0;--dim:#9aa6b5;--line:#2c343f;--card:#1c222b}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}"
    "main{max-width:1080px;margin:0 auto;padding:24px 20px 60px}h1{font-size:26px;margin:0 0 4px;overflow-wrap:anywhere}"
    "h2{font-size:18px;margin:36px 0 10px}p{margin:6px 0}.dim,small{color:var(--dim)}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:18px 0}"
    ".tiles div{background:var(--card);border-radius:8px;padding:12px 14px}.tiles b{display:block;font-size:22px}"
    ".finding{background:var(--card);border-left:4px solid var(--t1);border-radius:6px;padding:12px 16px;margin:12px 0}"
    ".finding.ok{border-color:var(--t2)}.finding h3{margin:0 0 6px;font-size:16px}.finding ul,.finding ol{margin:4px 0;padding-left:22px}"
    ".plot{overflow-x:auto}.plot svg{width:100%;min-width:640px;height:auto;display:block}"
    "svg text{font:11px system-ui,sans-serif;fill:#fff}svg text.sub{opacity:.85}svg text.axis{fill:var(--dim)}"
    ".tile rect{stroke:none}.tile:hover rect,circle:hover{opacity:.75}circle{fill-opacity:.75}"
    ".t0{fill:var(--t0);background:var(--t0)}.t1{fill:var(--t1);background:var(--t1)}.t2{fill:var(--t2);background:var(--t2)}"
    ".t3{fill:var(--t3);background:var(--t3)}.t4{fill:var(--t4);background:var(--t4)}.t5{fill:var(--t5);background:var(--t5)}"
    ".t6{fill:var(--t6);background:var(--t6)}.t7{fill:var(--t7);background:var(--t7)}"
    ".grid{stroke:var(--line)}.roof{fill:none;stroke:var(--fg);stroke-width:1.5}.dash{stroke-dasharray:6 4}"
    ".line{fill:none;stroke-width:1.6}.l0{stroke:var(--t0)}.l1{stroke:var(--t1)}.l2{stroke:var(--t3)}.l3{stroke:var(--t2)}"
    ".legend span{margin-right:14px;white-space:nowrap}.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:5px}"
    ".table{overflow-x:auto;max-height:620px;overflow-y:auto;border:1px solid var(--line);border-radius:6px}"
    "table{border-collapse:collapse;width:100%;font-size:13px}th,td{padding:4px 10px;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid var(--line)}th{position:sticky;top:0;background:var(--card);cursor:pointer}"
    "td:nth-child(2),th:nth-child(2),.left td,.left th{text-align:left}td:nth-child(2){max-width:340px;overflow:hidden;text-overflow:ellipsis}"
    ".left td{white-space:normal;overflow-wrap:anywhere}.left td:first-child{color:var(--dim);width:170px}"
    ".bars{margin-top:16px;display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:16px}figure{margin:0}.bars svg{width:100%;height:auto}"
    ".facts td,.facts th{text-align:left}.facts td:last-child{white-space:normal;min-width:150px}.yes{color:var(--t2)}.no{color:var(--t5);font-weight:600}.unknown{color:var(--dim)}figcaption{font-weight:600}figcaption small{display:block;font-weight:400}li{overflow-wrap:anywhere}</style>";

/* A click on a heading sorts by that column; numbers by their value. */
static const char script[] =
    "<script>document.querySelectorAll('table.sort th').forEach((th,i)=>th.onclick=()=>{const b=th.closest('table').tBodies[0],"
    "v=r=>r.cells[i].dataset.v??r.cells[i].textContent,d=th.dataset.d=th.dataset.d==1?-1:1;"
    "[...b.rows].sort((x,y)=>{const p=v(x),q=v(y),n=p-q;return(isNaN(n)?p.localeCompare(q):-n)*d}).forEach(r=>b.append(r))})</script>";

void om_html_text(om_str *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<': om_str_add(out, "&lt;"); break;
        case '>': om_str_add(out, "&gt;"); break;
        case '&': om_str_add(out, "&amp;"); break;
        case '"': om_str_add(out, "&quot;"); break;
        default: om_str_addc(out, *text);
        }
    }
}

void om_html_begin(om_str *out, const char *title, const char *what)
{
    om_str_add(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    om_html_text(out, title);
    om_str_addf(out, " - %s</title>", what);
    om_str_add(out, style);
    om_str_add(out, "</head><body><main><h1>");
    om_html_text(out, title);
    om_str_add(out, "</h1>");
}

void om_html_end(om_str *out)
{
    om_str_add(out, "</main>");
    om_str_add(out, script);
    om_str_add(out, "</body></html>\n");
}

void om_html_tile(om_str *out, const char *label, const char *fmt, ...)
{
    char value[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    om_str_add(out, "<div><b>");
    om_html_text(out, value);
    om_str_addf(out, "</b><span class=\"dim\">%s</span></div>", label);
}

void om_html_list(om_str *out, const char *tag, const om_strlist *l)
{
    if (!l->n) return;
    om_str_addf(out, "<%s>", tag);
    for (size_t i = 0; i < l->n; i++) {
        om_str_add(out, "<li>");
        om_html_text(out, l->items[i]);
        om_str_add(out, "</li>");
    }
    om_str_addf(out, "</%s>", tag);
}

void om_html_cell_num(om_str *out, double v, int decimals)
{
    om_str_addf(out, "<td data-v=\"%.6g\">%.*f</td>", v, decimals, v);
}

void om_html_cell_text(om_str *out, const char *text)
{
    om_str_add(out, "<td title=\"");
    om_html_text(out, text);
    om_str_add(out, "\">");
    om_html_text(out, text);
    om_str_add(out, "</td>");
}

void om_html_pairs(om_str *out, const char *heading, const om_strlist *keys, const om_strlist *values)
{
    om_str_addf(out, "<h2>%s</h2><div class=\"table\"><table class=\"left\"><tbody>", heading);
    for (size_t i = 0; i < keys->n && i < values->n; i++) {
        om_str_add(out, "<tr><td>");
        om_html_text(out, keys->items[i]);
        om_str_add(out, "</td><td>");
        om_html_text(out, values->items[i]);
        om_str_add(out, "</td></tr>");
    }
    om_str_add(out, "</tbody></table></div>");
}
